-- The demonstration's database. It is made anew whenever the demonstration starts.

DROP SCHEMA public CASCADE;
CREATE SCHEMA public;

CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TYPE alert_kind AS ENUM ('FIRE', 'CLEAR', 'TEST');

CREATE TABLE instruments (
    symbol     text PRIMARY KEY,
    name       text NOT NULL,
    open_price numeric(12, 2) NOT NULL,
    price      numeric(12, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE trades (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol      text NOT NULL REFERENCES instruments,
    side        side NOT NULL,
    quantity    integer NOT NULL CHECK (quantity > 0),
    price       numeric(12, 2) NOT NULL,
    executed_at timestamptz NOT NULL DEFAULT now()
);

-- What older trades came to: they are folded into this table, so that `trades` stays short however long the
-- demonstration runs.
CREATE TABLE holdings (
    symbol   text PRIMARY KEY REFERENCES instruments,
    quantity bigint NOT NULL DEFAULT 0,
    cost     numeric NOT NULL DEFAULT 0,
    realized numeric NOT NULL DEFAULT 0
);

-- Filled by the demonstration's own receiver of webhooks.
CREATE TABLE alerts (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text NOT NULL UNIQUE,
    kind         alert_kind NOT NULL,
    trigger_name text NOT NULL,
    symbol       text,
    detail       jsonb NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now()
);

-- A position and what it has earned: `quantity` is negative where it is short, `cost` is what the open quantity was
-- bought for (negative: sold for).
CREATE TYPE book AS (quantity bigint, cost numeric, realized numeric);

-- Accounting by average cost: a trade that adds to a position changes its cost and realizes nothing; one that reduces
-- it realizes the difference to the average cost of what it closes; one that goes through zero does both.
CREATE FUNCTION book_trade(held book, opening book, side side, quantity integer, price numeric) RETURNS book
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    before   book := coalesce(held, opening);
    change   bigint := CASE side WHEN 'buy' THEN quantity ELSE -quantity END;
    closed   bigint;
    released numeric;
BEGIN
    IF sign(before.quantity) * sign(change) >= 0 THEN
        RETURN ROW(before.quantity + change, before.cost + change * price, before.realized)::book;
    END IF;
    closed := sign(before.quantity) * least(abs(change), abs(before.quantity));
    released := round(before.cost * closed / before.quantity, 10);
    RETURN ROW(
        before.quantity + change,
        before.cost - released + (change + closed) * price,
        before.realized + closed * price - released
    )::book;
END
$$;

CREATE AGGREGATE book_trades(book, side, integer, numeric) (SFUNC = book_trade, STYPE = book);

CREATE VIEW books AS
SELECT symbol, coalesce(traded.book, ROW(held.quantity, held.cost, held.realized)::book) AS book
FROM holdings AS held
LEFT JOIN (
    SELECT symbol,
           book_trades(
               ROW(opening.quantity, opening.cost, opening.realized)::book,
               trades.side, trades.quantity, trades.price ORDER BY trades.id
           ) AS book
    FROM trades
    JOIN holdings AS opening USING (symbol)
    GROUP BY symbol
) AS traded USING (symbol);

CREATE VIEW live_pnl AS
SELECT symbol,
       name,
       (book).quantity::integer AS net_position,
       round((book).cost / nullif((book).quantity, 0), 2) AS average_cost,
       price AS last_price,
       round((price / open_price - 1) * 100, 2) AS change_percent,
       (book).quantity * price AS market_value,
       abs((book).quantity * price) AS exposure,
       round((book).realized, 2) AS realized_pnl,
       round((book).quantity * price - (book).cost, 2) AS unrealized_pnl,
       round((book).realized + (book).quantity * price - (book).cost, 2) AS total_pnl
FROM instruments
JOIN books USING (symbol);

-- Folds all trades but the newest `kept` into `holdings`; live_pnl is the same before and after.
CREATE FUNCTION fold_trades(kept integer) RETURNS void
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM trades
        WHERE id <= (SELECT id FROM trades ORDER BY id DESC OFFSET kept LIMIT 1)
        RETURNING *
    ), folded AS (
        SELECT symbol,
               book_trades(
                   ROW(opening.quantity, opening.cost, opening.realized)::book,
                   gone.side, gone.quantity, gone.price ORDER BY gone.id
               ) AS book
        FROM gone
        JOIN holdings AS opening USING (symbol)
        GROUP BY symbol
    )
    UPDATE holdings
    SET quantity = (book).quantity, cost = (book).cost, realized = (book).realized
    FROM folded
    WHERE folded.symbol = holdings.symbol
$$;
