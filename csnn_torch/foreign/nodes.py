"""`python -m csnn_torch.foreign.nodes FILE.nir`: prints the nodes in a NIR file as JSON.

`csnn_jax.config.nodes` has it run in a child process, because `csnn_jax` doesn't import torch.
"""

import json
import sys

from csnn_jax.command import run_command
from csnn_torch import require_torch


def main(path: str) -> int:
    def command() -> int:
        require_torch("torch")
        from csnn_torch.foreign import nir_network
        from csnn_torch.foreign.network import nodes_of

        print(json.dumps([node.described() for node in nodes_of(nir_network.read(path).config)]))
        return 0

    return run_command(command, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
