-- What is on the topics now, up to their ends, into files that `yasdg verify` reads. Comes behind tables.sql.

ALTER TABLE purchases SET ('scan.bounded.mode' = 'latest-offset');
ALTER TABLE stockings SET ('scan.bounded.mode' = 'latest-offset');
ALTER TABLE products SET ('scan.bounded.mode' = 'latest-offset');

CREATE TABLE minutes_file WITH ('connector' = 'filesystem', 'path' = 'flink-output/minutes', 'format' = 'json')
AS SELECT * FROM minutes;

CREATE TABLE running_file WITH ('connector' = 'filesystem', 'path' = 'flink-output/running', 'format' = 'json')
AS SELECT * FROM running;

CREATE TABLE categories_file WITH ('connector' = 'filesystem', 'path' = 'flink-output/categories', 'format' = 'json')
AS SELECT * FROM categories;

CREATE TABLE restocking_file WITH ('connector' = 'filesystem', 'path' = 'flink-output/restocking', 'format' = 'json')
AS SELECT * FROM restocking;
