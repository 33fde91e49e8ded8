"""Folders of label pictures: a mask picture for every photograph.

Semantic folders (``masks``, ``labels``, ...): a pixel's value, palette position or colour is its class, and every class
in a picture is one annotation. Names come from a table (see ``class_table``); without one, value 7 is "class 7".
Nothing is labelled where the name says so ("void", "background", ...) and, unless the table names them, at 255 in
pictures with one 8-bit channel and 65535 in those with 16 bits. Values from 1000 are instances, as in Cityscapes:
class x 1000 + number. A set without a table whose values are only 0 and 255 marks one thing: 255 is "object".

Instance folders (``instances``, ``SegmentationObject``): every value but 0 and void is one thing, called "object", or
by its class where a table is there and the value is at least 1000.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from generalist.types import GeneralistError
from generalist_datasets.label_pictures import LABEL_SUFFIXES, LabelPicture, load_label_picture
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.class_table import ClassTable, find_class_table, is_void
from generalist_datasets.readers.pairs import Folders, Pair, find_folders, pair_files, record_id, walk
from generalist_datasets.records import Annotation, PixelValues, Problems, Record, Where

SEMANTIC = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "SegmentationClass", "SegmentationClassPNG",
    "segmentation", "segmentations", "semantic", "gt", "gtFine", "ground_truth",
)  # fmt: skip
INSTANCES = ("instances", "instance", "instance_masks", "SegmentationObject")

_FOLDER_ENDINGS = ("annot", "_annot", "_labels", "_label", "_masks", "_mask")
_FILE_ENDINGS = ("_gtFine_instanceIds", "_gtFine_labelIds", "_masks", "_mask", "_labels", "_label", "_seg", "_gt", "_L")
_IMAGE_ENDING = "_leftImg8bit"  # Cityscapes: a_leftImg8bit.png belongs to a_gtFine_labelIds.png
_MOST_CLASSES = 1000  # more in one semantic picture is not a map of classes
_MOST_THINGS = 65_536
_PEEK = 16  # pictures that decide whether 255 is a class


def detect(path: Path) -> bool:
    """A folder of pictures beside a folder of masks."""
    return bool(_folders(path, None))


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record a picture that has a mask."""
    folders = _folders(path, options.images)
    if not folders:
        names = ", ".join(SEMANTIC[:4])
        problems.error("nothing to read", Where(file=path), f"no pictures and masks side by side ({names}, ...)")
    for pair_of_folders in folders:
        labels = pair_of_folders.labels
        table = find_class_table(dict.fromkeys([path, labels.parent, labels]), problems)
        instances = labels.name.lower() in {name.lower() for name in INSTANCES}
        binary = not instances and not table and _only_0_and_255(labels)
        for pair in pair_files(pair_of_folders, LABEL_SUFFIXES, problems, _stem):
            record = _record(pair, path, table, problems, binary=binary, instances=instances)
            if record is not None:
                yield record


def _folders(path: Path, images: Path | None) -> list[Folders]:
    return find_folders(path, (*SEMANTIC, *INSTANCES), LABEL_SUFFIXES, images=images, endings=_FOLDER_ENDINGS)


def _stem(stem: str) -> str | None:
    """The picture's stem of a mask's: 0001_mask belongs to 0001."""
    if stem.endswith("_gtFine_color"):  # the same labels once more, to look at
        return None
    for ending in _FILE_ENDINGS:
        if stem.endswith(ending) and stem != ending:
            cut = stem.removesuffix(ending)
            return cut + _IMAGE_ENDING if "_gtFine_" in ending else cut
    return stem


def _only_0_and_255(folder: Path) -> bool:
    """Whether the first masks are black and white: no void, but one thing."""
    values: set[int] = set()
    files = (inner / name for inner, names in walk(folder, LABEL_SUFFIXES) for name in names)
    for file in islice(files, _PEEK):
        try:
            values.update(load_label_picture(file).distinct())
        except GeneralistError:  # reported when its turn comes
            continue
    return 255 in values and values <= {0, 255}


def _record(
    pair: Pair, root: Path, table: ClassTable, problems: Problems, *, binary: bool, instances: bool
) -> Record | None:
    where = Where(file=pair.label)
    try:
        picture = load_label_picture(pair.label)
    except GeneralistError as error:
        problems.unreadable(pair.label, error)
        return None
    if binary:
        found = [Annotation(label="object", where=where, segment=PixelValues(file=pair.label, value=255), stuff=True)]
        annotations = found if 255 in picture.distinct() else []
    elif instances:
        annotations = things_in(picture, pair.label, table, problems)
    else:
        annotations = classes_in(picture, pair.label, table, problems)
    return Record(
        id=record_id(pair.image, root),
        images=(pair.image,),
        where=where,
        split=pair.split,
        size=picture.size,
        annotations=tuple(annotations),
    )


def things_in(picture: LabelPicture, file: Path, table: ClassTable, problems: Problems) -> list[Annotation]:
    """One annotation for every value of a picture of instances."""
    found = []
    values = picture.distinct()
    if len(values) > _MOST_THINGS:
        problems.error("unknown class", Where(file=file), f"{len(values)} values: this is no map of things")
        return []
    boxes = picture.boxes()
    for value in values:
        if value <= 0 or (value == 255 and picture.palette):
            continue
        classed = table.by_value.get(value // 1000, "") if value >= 1000 else ""
        where, segment = Where(file=file, entry=f"value {value}"), PixelValues(file=file, value=value)
        found.append(Annotation(label=classed or "object", where=where, xyxy=boxes[value], segment=segment))
    return found


def classes_in(
    picture: LabelPicture, file: Path, table: ClassTable, problems: Problems, *, void: int | None = None
) -> list[Annotation]:
    """One annotation for every class (and every Cityscapes-like instance) of a semantic picture.

    ``void``: the value that means "not labelled", where the format has one.
    """
    values = picture.distinct()
    # grey saved as RGB: the class is in each of the channels
    grey = picture.coloured and not table.by_colour and all(v % 256 * 0x010101 == v for v in values)
    if len(values) > _MOST_CLASSES and (picture.coloured or max(values) < 1000):
        problems.error("unknown class", Where(file=file), f"{len(values)} values: this is no map of classes")
        return []
    if picture.coloured and not table.by_colour and not grey:
        detail = "the masks are coloured; say which class a colour is in label_colors.txt (`sky 128 128 128`)"
        problems.error("unknown class", Where(file=file), detail)
        return []
    boxes = picture.boxes() if values and values[-1] >= 1000 and not picture.coloured else {}
    found = []
    for value in values:
        where = Where(file=file, entry=f"value {value}")
        number, instance = _class_number(picture, value, table, grey=grey)
        name = "void" if number == void else _name(picture, number, table, grey=grey)
        if name is None:
            problems.error("unknown class", where, _unnamed(number, coloured=picture.coloured and not grey))
        elif not is_void(name):
            segment, box = PixelValues(file=file, value=value), boxes.get(value) if instance else None
            found.append(Annotation(label=name, where=where, xyxy=box, segment=segment, stuff=not instance))
    return found


def _class_number(picture: LabelPicture, value: int, table: ClassTable, *, grey: bool) -> tuple[int, bool]:
    """The class that ``value`` stands for, and whether it is one instance of it."""
    if picture.coloured:
        return (value % 256 if grey else value), False
    if value < 1000 or value == 65535 or value in table.by_value:
        return value, False
    return value // 1000, True


def _name(picture: LabelPicture, number: int, table: ClassTable, *, grey: bool) -> str | None:
    """What the table calls a class; "void" where nothing is labelled; None for a class that the table lacks."""
    if picture.coloured and not grey:
        return table.by_colour.get(number)
    if table.by_colour and number < len(picture.palette) and picture.palette[number] in table.by_colour:
        return table.by_colour[picture.palette[number]]
    if number in table.by_value:
        return table.by_value[number]
    if number in (255, 65535):
        return "void"
    return None if table else f"class {number}"


def _unnamed(number: int, *, coloured: bool) -> str:
    if not coloured:
        return f"{number} is not in the table of classes"
    return f"colour {number % 256},{number // 256 % 256},{number // 65536} is not in the table of classes"


READER = Reader(
    name="mask_folder",
    summary="folders of label pictures: semantic or instance masks beside the photographs",
    detect=detect,
    read=read,
)
