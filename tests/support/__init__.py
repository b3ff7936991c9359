"""What tests build and control: shops, workers, brokers, servers, browsers, foreign producers."""
