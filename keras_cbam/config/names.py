"""The names that a user can choose. A comment gives the file that knows what each name means."""

from __future__ import annotations

# surgery/plan.py
ATTENTIONS = ("cbam", "se", "bam", "channel", "spatial")
# surgery/points.py
NAMED_POINTS = ("stage_ends", "last_stage")
# training/image_batches.py
AUGMENTATIONS = ("crop", "flip", "color")
# detection/augmentation.py
BOX_AUGMENTATIONS = ("flip", "zoom", "color")
# visualize/explanation.py
HEATS = ("grad-cam", "grad-cam++")
# models/catalogue.py
NETWORKS = (
    *("ResNet18", "ResNet34", "ResNet50", "ResNet101", "WideResNet18-1.5", "WideResNet18-2.0"),
    *("ResNeXt50", "ResNeXt101", "MobileNet-0.7", "MobileNet-1.0"),
)
TABULATED_ATTENTIONS = ("none", "se", "cbam", "bam")
# studies/tables.py, studies/transfer_rows.py, studies/scales.py
TABLES = ("channel", "spatial", "order", "attention")
TRANSFER_ROWS = (
    *("plain", "probe", "bottleneck", "se", "cbam", "channel", "spatial", "last_stage", "adapter"),
)
SCALES = ("small", "imagenet")
# export/formats.py, export/tflite/targets.py, export/onnx/lowering.py, export/proof/judging.py
FORMATS = ("saved_model", "tflite", "onnx")
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
FURTHER_RUNTIMES = ("openvino", "onnxruntime-web")
TARGETS = ("cpu", "npu", "generic")
JUDGES = ("classes", "threshold", "values")
# pixels.py
PIXEL_RULES = ("inside", "tf", "torch", "caffe")
