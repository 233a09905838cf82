"""What trials cost: counted operations, and prices in a study's budget."""
