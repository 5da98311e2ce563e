"""Programs that read NIR, one module each."""

from csnn_torch.first_difference.programs import norse, sinabs, snntorch, spikingjelly
from csnn_torch.first_difference.programs.nir_file import NirFile
from csnn_torch.first_difference.programs.program import Program

__all__ = ["PROGRAMS", "NirFile", "Program"]

PROGRAMS: dict[str, Program] = {
    one.name: one for one in (snntorch.PROGRAM, norse.PROGRAM, sinabs.PROGRAM, spikingjelly.PROGRAM)
}
