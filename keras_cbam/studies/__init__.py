"""The reproduction of the paper's tables 1 to 4 on your own images, and the transfer study.

`study` trains the networks of the tables and writes the tables. `transfer_study` fine-tunes one
pretrained backbone in several ways and compares them. Only the command `keras-cbam study` builds on
this package; no other part of keras_cbam imports it.
"""

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
