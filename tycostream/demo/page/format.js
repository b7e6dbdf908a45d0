// Numbers and times as people read them.

const two = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const few = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const MINUS = "−";
const signed = (text) => text.replace("-", MINUS);

export const price = (value) => (value === null ? "–" : two.format(value));
export const units = (value) => (value === null ? "–" : signed(whole.format(value)));
export const money = (value) => (value === null ? "–" : signed(whole.format(value)));
export const number = (value) => (value === null ? "–" : signed(few.format(value)));
export const gain = (value) => (value === null ? "–" : (value > 0 ? "+" : "") + signed(whole.format(value)));
export const percent = (value) => (value === null ? "–" : `${value > 0 ? "+" : ""}${signed(two.format(value))} %`);
export const sign = (value) => (value > 0 ? "gain" : value < 0 ? "loss" : "");

// PostgreSQL writes "2024-01-02 03:04:05.678+00"
export const time = (text) => clock.format(new Date(text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00")));
