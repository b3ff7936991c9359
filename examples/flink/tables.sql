-- The shop's topics as tables. Flink's SQL client accepts this file and the others unchanged.

-- The time zone of windows over times with a time zone, which some values of [FORMAT] time produce.
SET 'table.local-time-zone' = 'UTC';

-- A partition without sales stalls all windows until it has been idle for this long. Longer than the ten seconds within
-- which another worker takes over the partitions of a killed one: the sales of that gap have their original event
-- times.
SET 'table.exec.source.idle-timeout' = '30 s';

CREATE TABLE purchases (
    transaction_time TIMESTAMP(6),
    product_id STRING,
    price DECIMAL(12, 2),
    quantity INT,
    is_member BOOLEAN,
    member_discount DECIMAL(5, 4),
    add_supplements BOOLEAN,
    supplement_price DECIMAL(12, 2),
    total_purchase DECIMAL(12, 2),
    transaction_id STRING,
    total_cost DECIMAL(12, 2),
    promotion_discount DECIMAL(5, 4),
    substituted_from STRING,
    -- Flink's event time has millisecond precision.
    rowtime AS CAST(transaction_time AS TIMESTAMP(3)),
    WATERMARK FOR rowtime AS rowtime - INTERVAL '10' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = 'demo.purchases',
    'properties.bootstrap.servers' = 'localhost:9092',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'json'
);

CREATE TABLE stockings (
    event_time TIMESTAMP(6),
    product_id STRING,
    existing_level INT,
    stock_quantity INT,
    new_level INT,
    stocking_id STRING,
    rowtime AS CAST(event_time AS TIMESTAMP(3)),
    -- A delivery is published with the next sale of its product, with the event time at which it arrived: for a product
    -- that is rarely sold, much later.
    WATERMARK FOR rowtime AS rowtime - INTERVAL '1' DAY
) WITH (
    'connector' = 'kafka',
    'topic' = 'demo.stockings',
    'properties.bootstrap.servers' = 'localhost:9092',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'json'
);

-- Only the latest message of each product counts.
CREATE TABLE products (
    product_id STRING,
    category STRING,
    item STRING,
    `size` STRING,
    price DECIMAL(12, 2),
    inventory INT,
    contains_fruit BOOLEAN,
    contains_veggies BOOLEAN,
    contains_nuts BOOLEAN,
    contains_caffeine BOOLEAN,
    range_weight DOUBLE,
    cost DECIMAL(12, 2),
    -- Products have no event time: a product is valid from the beginning.
    valid_from AS TO_TIMESTAMP('1970-01-01 00:00:00'),
    WATERMARK FOR valid_from AS valid_from,
    PRIMARY KEY (product_id) NOT ENFORCED
) WITH (
    'connector' = 'upsert-kafka',
    'topic' = 'demo.products',
    'properties.bootstrap.servers' = 'localhost:9092',
    'key.format' = 'raw',
    'value.format' = 'json',
    -- Sales wait for the products until their topic is idle.
    'scan.watermark.idle-timeout' = '5 s'
);
