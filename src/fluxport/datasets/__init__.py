"""Datasets: queries declared by the operator, which callers narrow by typed filters and never write themselves.

A dataset has a query per dialect, typed columns, and filters that add fixed conditions with bound values; its rows are
those of the calling user unless it says that everybody may read all of them.
"""

from fluxport.datasets.columns import Column, typed
from fluxport.datasets.dataset import Dataset
from fluxport.datasets.declarations import parse_datasets

__all__ = ["Column", "Dataset", "parse_datasets", "typed"]
