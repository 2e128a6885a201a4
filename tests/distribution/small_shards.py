"""`hrlrec` whose embedding tables are split over servers however small they are."""

import sys

from hrlrec_tf.cli import main
from hrlrec_tf.distribution.partitioner import EmbeddingPartitioner

if __name__ == "__main__":
    EmbeddingPartitioner.__init__.__defaults__ = (1,)
    sys.exit(main())
