-- Has the tables end where their topics end now. Comes before views.sql: a view keeps a table as it finds it.

ALTER TABLE purchases SET ('scan.bounded.mode' = 'latest-offset');

ALTER TABLE stockings SET ('scan.bounded.mode' = 'latest-offset');

ALTER TABLE products SET ('scan.bounded.mode' = 'latest-offset');
