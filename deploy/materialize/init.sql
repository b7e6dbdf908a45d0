-- The example's data: Materialize's own auction house, where somebody bids every second, and views over it. It can be
-- run again. https://materialize.com/docs/sql/create-source/load-generator#auction

CREATE SOURCE IF NOT EXISTS auction_house FROM LOAD GENERATOR AUCTION (TICK INTERVAL '1s') FOR ALL TABLES;

-- Auctions that are still open: rows come when one starts and go when its time is over.
CREATE MATERIALIZED VIEW IF NOT EXISTS open_auctions AS
SELECT id, item, seller, end_time FROM auctions WHERE mz_now() < end_time;

-- What is bid in each auction: rows change with every bid. Each auction is kept for ten minutes.
CREATE MATERIALIZED VIEW IF NOT EXISTS standings AS
SELECT auctions.id AS auction_id, auctions.item, count(*) AS bids, max(bids.amount) AS highest_bid, max(bids.bid_time) AS last_bid_at
FROM auctions JOIN bids ON bids.auction_id = auctions.id
WHERE mz_now() < auctions.end_time + INTERVAL '10 minutes'
GROUP BY auctions.id, auctions.item;

-- A view on a view: one row an item, of the auctions that are kept.
CREATE MATERIALIZED VIEW IF NOT EXISTS items AS
SELECT item, count(*) AS auctions, max(highest_bid) AS record FROM standings GROUP BY item;
