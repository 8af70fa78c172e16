"""Datasets: queries declared by the operator, which callers narrow by typed filters and never write themselves.

A dataset has a query per dialect, typed columns, and filters that add fixed conditions with bound values. It returns
the calling user's rows, unless its scope is "all".
"""

from fluxport.datasets.columns import Column, typed
from fluxport.datasets.dataset import Dataset
from fluxport.datasets.declarations import parse_datasets

__all__ = ["Column", "Dataset", "parse_datasets", "typed"]
