"""The sample pack: a trading journal, as a database and as the datasets that export it.

Money is stored as whole numbers: prices and quantities in ten-thousandths (columns ``..._e4``), so that their product,
a profit, is a whole number of 1/10**8, and sums are exact in every database. Times are UTC.
"""

from fluxport.samples.journal import TABLES, create_sample, datasets, ddl, tables

__all__ = ["TABLES", "create_sample", "datasets", "ddl", "tables"]
