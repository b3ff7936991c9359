"""The rows of the inventory table, and how purchases change them. Of Faust only the type TP is used."""
