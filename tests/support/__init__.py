"""What tests build and drive: shops, workers, brokers, servers, browsers, foreign producers."""
