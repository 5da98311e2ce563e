"""The programs that read and write NIR, one file each.

To add one, write a module here that ends with its `PROGRAM`, and add it to `PROGRAMS`.
"""

from csnn_torch.programs import norse, sinabs, snntorch, spikingjelly
from csnn_torch.programs.program import Program

PROGRAMS: dict[str, Program] = {
    one.name: one for one in (snntorch.PROGRAM, norse.PROGRAM, sinabs.PROGRAM, spikingjelly.PROGRAM)
}
