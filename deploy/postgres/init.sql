-- The example's database: a role for tycostream, two tables and a view. PostgreSQL's image runs this once, as the
-- superuser, in the database shop.

-- REPLICATION, to read the log; CREATE on the database, to make a publication.
CREATE ROLE tycostream LOGIN REPLICATION PASSWORD 'tycostream';
GRANT CREATE ON DATABASE shop TO tycostream;

CREATE TYPE order_status AS ENUM ('placed', 'paid', 'shipped');

CREATE TABLE products (
    sku   text PRIMARY KEY,
    name  text NOT NULL,
    price numeric(10, 2) NOT NULL
);

CREATE TABLE orders (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku       text NOT NULL REFERENCES products,
    quantity  integer NOT NULL,
    status    order_status NOT NULL DEFAULT 'placed',
    placed_at timestamptz NOT NULL DEFAULT now()
);

CREATE VIEW sales AS
SELECT products.sku, products.name, count(orders.id) AS orders, coalesce(sum(orders.quantity * products.price), 0) AS revenue
FROM products LEFT JOIN orders USING (sku)
GROUP BY products.sku, products.name;

-- Only its owner can publish a table. In a database of your own, grant the owning role instead: GRANT shop_owner TO tycostream.
ALTER TABLE products OWNER TO tycostream;
ALTER TABLE orders OWNER TO tycostream;
GRANT SELECT ON sales TO tycostream;

INSERT INTO products VALUES ('mug', 'A mug', 12.50), ('tee', 'A T-shirt', 24.00), ('pen', 'A pen', 1.20);
INSERT INTO orders (sku, quantity, status) VALUES ('mug', 2, 'paid'), ('tee', 1, 'placed'), ('pen', 10, 'shipped');
