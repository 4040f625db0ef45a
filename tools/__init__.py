"""What the workshop itself is made of: contracts for the layers, rendering."""
