"""Arrow Flight: query results and datasets as record batches, and record batches as stored files."""
