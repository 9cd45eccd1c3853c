"""Where work over a whole data set is done: in this process, or by actors of Ray. We write no scheduler.

An engine makes each worker's function once and hands it blocks of the data; it knows nothing of what they are. Uses
`biasprop.errors` and `biasprop.extras` alone.
"""

from .on_ray import is_ray_dataset
from .running import ENGINES, Engine, Pool, Work, blocks_of, run

__all__ = ["ENGINES", "Engine", "Pool", "Work", "blocks_of", "is_ray_dataset", "run"]
