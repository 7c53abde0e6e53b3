"""Object detection: KerasHub's RetinaNet with attention, COCO's metrics, export with a decoder."""

from keras_cbam.config.detection import DetectionConfig
from keras_cbam.detection.annotations import DetectionSplit, LeftOut, Photograph
from keras_cbam.detection.batches import DetectionBatches
from keras_cbam.detection.decoder import Detections, decode
from keras_cbam.detection.detector import build_detector, load_detector, retinanet
from keras_cbam.detection.evaluate import evaluate_detector
from keras_cbam.detection.export import DetectorExport, export_detector
from keras_cbam.detection.folder import DetectionFolder, read_detection_folder
from keras_cbam.detection.metrics import coco_metrics
from keras_cbam.detection.pictures import side_by_side
from keras_cbam.detection.predict import Predictor
from keras_cbam.detection.train import DetectionResult, train_detector

__all__ = [
    "DetectionBatches",
    "DetectionConfig",
    "DetectionFolder",
    "DetectionResult",
    "DetectionSplit",
    "Detections",
    "DetectorExport",
    "LeftOut",
    "Photograph",
    "Predictor",
    "build_detector",
    "coco_metrics",
    "decode",
    "evaluate_detector",
    "export_detector",
    "load_detector",
    "read_detection_folder",
    "retinanet",
    "side_by_side",
    "train_detector",
]
