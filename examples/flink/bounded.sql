-- Ends the tables at the current ends of their topics. Run it before views.sql: a view keeps the table definition that
-- it was created with.

ALTER TABLE purchases SET ('scan.bounded.mode' = 'latest-offset');

ALTER TABLE stockings SET ('scan.bounded.mode' = 'latest-offset');

ALTER TABLE products SET ('scan.bounded.mode' = 'latest-offset');
