-- Paste one query at a time into Pinot's query console (http://localhost:9000). Amounts are summed as decimals: SUM
-- would use floats. Without a LIMIT Pinot returns ten rows; without numGroupsLimit it omits groups beyond 100,000.

-- Revenue by product and minute: the rows of `yasdg truth --window 1m`.
SET numGroupsLimit = 10000000;
SELECT DATETRUNC('MINUTE', sold_at) AS window_start, product_id,
       COUNT(*) AS sales, SUM(quantity) AS units, SUMPRECISION(total_purchase, 18, 2) AS revenue
FROM purchases
GROUP BY DATETRUNC('MINUTE', sold_at), product_id
ORDER BY DATETRUNC('MINUTE', sold_at), product_id
LIMIT 10000000;

-- Totals so far, by product: `yasdg truth --window all`.
SELECT product_id, COUNT(*) AS sales, SUM(quantity) AS units, SUMPRECISION(total_purchase, 18, 2) AS revenue
FROM purchases
GROUP BY product_id
ORDER BY product_id
LIMIT 1000000;

-- Joined with the catalog: revenue by category. A join needs the multi-stage engine.
SET useMultistageEngine = true;
SELECT products.category, COUNT(*) AS sales, SUMPRECISION(purchases.total_purchase, 18, 2) AS revenue
FROM purchases JOIN products ON purchases.product_id = products.product_id
GROUP BY products.category
ORDER BY products.category
LIMIT 1000;

-- How often shelves are restocked: restocks by product and hour, `restocks` of `yasdg truth --window 1h`.
SET numGroupsLimit = 10000000;
SELECT DATETRUNC('HOUR', stocked_at) AS window_start, product_id, COUNT(*) AS restocks,
       SUM(stock_quantity) AS restocked_units
FROM stockings
GROUP BY DATETRUNC('HOUR', stocked_at), product_id
ORDER BY DATETRUNC('HOUR', stocked_at), product_id
LIMIT 10000000;
