"""The contracts of formats, sources and sinks as test classes of pytest, for components of other packages.

A test file subclasses a contract and defines a fixture ``subject``, the component under test; Fluxport's own components
are tested by the same classes. Requires pytest: ``pip install 'fluxport[testing]'``.
"""

import pytest

# Must precede the imports: a failed assertion then shows both sides, as in a test file.
pytest.register_assert_rewrite("fluxport.testing.formats", "fluxport.testing.sinks", "fluxport.testing.sources")

from fluxport.testing.formats import FormatCase, FormatContract, ReadBack
from fluxport.testing.sinks import SinkCase, SinkContract
from fluxport.testing.sources import SourceCase, SourceContract

__all__ = ["FormatCase", "FormatContract", "ReadBack", "SinkCase", "SinkContract", "SourceCase", "SourceContract"]
