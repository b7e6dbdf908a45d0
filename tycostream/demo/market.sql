-- The demonstration's database: two tables and a view over them.

CREATE TYPE side AS ENUM ('buy', 'sell');

CREATE TABLE instruments (
    symbol     text PRIMARY KEY,
    name       text NOT NULL,
    price      double precision NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE trades (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol      text NOT NULL REFERENCES instruments,
    side        side NOT NULL,
    quantity    integer NOT NULL,
    price       double precision NOT NULL,
    executed_at timestamptz NOT NULL DEFAULT now()
);

CREATE VIEW positions AS
SELECT symbol, quantity, price,
       round((quantity * price)::numeric, 2) AS market_value,
       round((quantity * price - cost)::numeric, 2) AS profit
FROM instruments
JOIN (
    SELECT symbol,
           sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS quantity,
           sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END * trades.price) AS cost
    FROM trades
    GROUP BY symbol
) AS held USING (symbol);

INSERT INTO instruments (symbol, name, price) VALUES
    ('AAPL', 'Apple', 228.50), ('AMZN', 'Amazon', 207.10), ('ASML', 'ASML Holding', 671.40),
    ('GOOG', 'Alphabet', 177.30), ('IBM', 'IBM', 226.80), ('MSFT', 'Microsoft', 417.20),
    ('NVDA', 'NVIDIA', 138.90), ('ORCL', 'Oracle', 186.40), ('SAP', 'SAP', 232.70), ('TSLA', 'Tesla', 338.60);

INSERT INTO trades (symbol, side, quantity, price)
SELECT symbol, CASE WHEN n % 4 = 0 THEN 'sell' ELSE 'buy' END::side, 10 * n, round(price::numeric * (0.97 + n * 0.01), 2)
FROM instruments CROSS JOIN generate_series(1, 5) AS n
ORDER BY n, symbol;
