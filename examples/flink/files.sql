-- Writes the views of bounded tables to files that `yasdg verify` reads, in a single job.

CREATE TABLE minutes_file (
    window_start TIMESTAMP(3), window_end TIMESTAMP(3), product_id STRING, sales BIGINT, units BIGINT, revenue DECIMAL(38, 2)
) WITH ('connector' = 'filesystem', 'path' = 'flink-output/minutes', 'format' = 'json');

CREATE TABLE totals_file (
    transaction_time TIMESTAMP(6), product_id STRING, price DECIMAL(12, 2), quantity INT, is_member BOOLEAN,
    member_discount DECIMAL(5, 4), add_supplements BOOLEAN, supplement_price DECIMAL(12, 2), total_purchase DECIMAL(12, 2),
    transaction_id STRING, total_cost DECIMAL(12, 2), promotion_discount DECIMAL(5, 4), substituted_from STRING,
    sales BIGINT, units BIGINT, revenue DECIMAL(38, 2)
) WITH ('connector' = 'filesystem', 'path' = 'flink-output/totals', 'format' = 'json');

CREATE TABLE categories_file (
    window_start TIMESTAMP(3), window_end TIMESTAMP(3), category STRING, sales BIGINT, units BIGINT, revenue DECIMAL(38, 2)
) WITH ('connector' = 'filesystem', 'path' = 'flink-output/categories', 'format' = 'json');

CREATE TABLE restocking_file (
    window_start TIMESTAMP(3), window_end TIMESTAMP(3), product_id STRING,
    units BIGINT, restocks BIGINT, restocked_units BIGINT, restock_rate DECIMAL(18, 4)
) WITH ('connector' = 'filesystem', 'path' = 'flink-output/restocking', 'format' = 'json');

EXECUTE STATEMENT SET BEGIN
INSERT INTO minutes_file SELECT * FROM minutes;
INSERT INTO totals_file SELECT * FROM totals;
INSERT INTO categories_file SELECT * FROM categories;
INSERT INTO restocking_file SELECT * FROM restocking;
END;
