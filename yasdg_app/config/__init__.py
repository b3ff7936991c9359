"""The configuration: settings, validation rules, and the product catalog."""
