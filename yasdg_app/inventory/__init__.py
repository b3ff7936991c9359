"""The inventory table's rows, and how purchases change them. Knows no Faust."""
