"""What is stored on the topics: records, decoders, encoders and formats."""
