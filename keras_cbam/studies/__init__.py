"""The paper's tables 1 to 4 as studies on images of one's own, and the transfer study."""

from keras_cbam.studies.attentions import ATTENTIONS
from keras_cbam.studies.networks import build_network
from keras_cbam.studies.run import Result, Run, execute
from keras_cbam.studies.scales import SCALES, Scale
from keras_cbam.studies.study import study
from keras_cbam.studies.tables import STUDIES, Study
from keras_cbam.studies.transfer import TransferRun, transfer_study
from keras_cbam.studies.transfer_rows import ROWS

__all__ = [
    "ATTENTIONS",
    "ROWS",
    "SCALES",
    "STUDIES",
    "Result",
    "Run",
    "Scale",
    "Study",
    "TransferRun",
    "build_network",
    "execute",
    "study",
    "transfer_study",
]
