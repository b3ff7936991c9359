-- The queries, as views.

-- Sales, units and revenue by product and minute.
CREATE VIEW minutes AS
SELECT window_start, window_end, product_id,
    COUNT(*) AS sales, SUM(quantity) AS units, SUM(total_purchase) AS revenue
FROM TABLE(TUMBLE(TABLE purchases, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, product_id;

-- Each sale with the running totals of its product.
CREATE VIEW totals AS
SELECT transaction_time, product_id, price, quantity, is_member, member_discount, add_supplements, supplement_price,
    total_purchase, transaction_id, total_cost, promotion_discount, substituted_from,
    COUNT(*) OVER so_far AS sales, SUM(quantity) OVER so_far AS units, SUM(total_purchase) OVER so_far AS revenue
FROM purchases
WINDOW so_far AS (PARTITION BY product_id ORDER BY rowtime RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

-- Sales with category and item.
CREATE VIEW sold AS
SELECT purchases.*, products.category, products.item
FROM purchases
JOIN products FOR SYSTEM_TIME AS OF purchases.rowtime ON purchases.product_id = products.product_id;

-- Sales, units and revenue by category and minute.
CREATE VIEW categories AS
SELECT window_start, window_end, category,
    COUNT(*) AS sales, SUM(quantity) AS units, SUM(total_purchase) AS revenue
FROM TABLE(TUMBLE(TABLE sold, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, category;

CREATE VIEW movements AS
SELECT rowtime, product_id, quantity AS units, 0 AS restocks, 0 AS restocked_units FROM purchases
UNION ALL
SELECT rowtime, product_id, 0, 1, stock_quantity FROM stockings;

-- By product and day: units sold, units restocked, and units restocked per unit sold.
CREATE VIEW restocking AS
SELECT window_start, window_end, product_id,
    SUM(units) AS units, SUM(restocks) AS restocks, SUM(restocked_units) AS restocked_units,
    CAST(CAST(SUM(restocked_units) AS DECIMAL(18, 4)) / NULLIF(SUM(units), 0) AS DECIMAL(18, 4)) AS restock_rate
FROM TABLE(TUMBLE(TABLE movements, DESCRIPTOR(rowtime), INTERVAL '1' DAY))
GROUP BY window_start, window_end, product_id;
