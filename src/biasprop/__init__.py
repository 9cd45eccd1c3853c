"""biasprop: explain a network's prediction completely, ``f(x) = w.x + b``, with b attributed to the inputs."""
from .errors import BiaspropError
from .explainer import Explainer, explain, explainer
from .explanation import Explanation
