"""A small cohort whose photographs, names and metadata try to tell who the patients are."""

import io

import numpy as np
from exports import box, label, row, write
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.PngImagePlugin import PngInfo

CLASSES = ("nevus", "melasma")
PATIENTS = 12
SIZE = (96, 64)
READERS = ("reader.one@example.org", "reader.two@example.org")
SECRET = "Wilhelmina-Mustermann"
"""A name that stands in photographs and texts."""


def patient(number: int) -> str:
    return f"MRN-77{number:04}"


def birth(number: int) -> str:
    return f"19{30 + number}-05-17"


def seen(number: int, visit: int) -> str:
    return f"2019-0{1 + visit}-{10 + number}"


def picture(number: int) -> bytes:
    """Return a photograph of one of four kinds: JPEG with EXIF and comment, PNG with texts, 16 bits, CMYK."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    if number % 4 == 0:
        exif = Image.Exif()
        exif[Base.ImageDescription] = exif[Base.Artist] = SECRET
        exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (48.0, 8.0, 12.5)
        xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{SECRET}</x:xmpmeta>'.encode()
        image.save(buffer, "JPEG", exif=exif, comment=SECRET.encode(), xmp=xmp, quality=90)
        buffer.write(SECRET.encode())  # behind the end of the picture
    elif number % 4 == 1:
        texts = PngInfo()
        texts.add_text("Author", SECRET)
        texts.add_itxt("XML:com.adobe.xmp", SECRET)
        image.save(buffer, "PNG", pnginfo=texts)
    elif number % 4 == 2:
        deep = np.random.default_rng(number).integers(0, 65536, (SIZE[1], SIZE[0])).astype(np.uint16)
        Image.fromarray(deep).save(buffer, "PNG")
    else:
        image.convert("CMYK").save(buffer, "JPEG", comment=SECRET.encode())
    return buffer.getvalue()


def fields(number: int, visit: int) -> dict[str, str]:
    """Return metadata of a photograph: some that may be released, and some that tries to get through."""
    return {
        "lesion_id": f"LESION-{number:04}-{visit}",
        "age": "93" if number == 0 else str(30 + number % 2),
        "sex": "female" if number % 2 else "male",
        "site": "=HYPERLINK(0)" if number == 1 else f"{SECRET} has it" if number == 2 else "back",
        "camera": patient(5) if number == 3 else "mri-9000",
        "thickness": f"77{number:04}" if number == 4 else f"{number}.25",
        "visit": seen(number, visit),
        "birth": birth(number),
        "notes": f"{SECRET}, born {birth(number)}, ask {READERS[0]}",
        "record": f"https://pacs.example.org/{patient(number)}?Signature=SIGNED0123456789",
    }


def write_cohort(folder):
    """Write an export and photographs named by patients; return the export."""
    rows = []
    for number in range(PATIENTS):
        for visit in range(2):
            image_id = f"cmphoto{number:04}x{visit}"
            name = f"{patient(number)} {SECRET} {visit}.jpg"
            (folder / name).write_bytes(picture(2 * number + visit))
            both = [
                label(f"cmlabel{number:04}x{visit}{reader}", boxes=[lesion(number, visit, reader)], by=by)
                for reader, by in enumerate(READERS)
            ]
            entry = row(image_id, *both, patient=patient(number), size=SIZE, external_id=name)
            entry["metadata_fields"] += [
                {"schema_id": key, "schema_name": key, "schema_kind": "CustomMetadataString", "value": value}
                for key, value in fields(number, visit).items()
            ]
            rows.append(entry)
    return write(folder / "export.ndjson", rows)


def lesion(number: int, visit: int, reader: int):
    """Return a reader's box; of every fourth patient the second reader sees another class."""
    class_name = CLASSES[(number + (reader and number % 4 == 0)) % 2]
    return box(f"cmobject{number:04}x{visit}{reader}", 20, 10, 40, 30, class_name)
