"""The word lists that customers, places and products are made of. All of it is invented."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bilingual:
    """One thing's name in English and in Chinese."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of product: SKU prefix, noun, the traits that set its products apart, lowest price in cents."""

    key: str
    prefix: str
    noun: Bilingual
    traits: tuple[Bilingual, ...]
    from_cents: int


@dataclass(frozen=True, slots=True)
class Place:
    """A town of the shop's world with its postcode prefix and the country (ISO 3166 alpha-2) it is set in."""

    city: str
    postcode: str
    country: str


GIVEN_NAMES = (
    "Alva", "Brisa", "Corin", "Davra", "Elowin", "Faro", "Giselin", "Halden", "Ione", "Jorun",
    "Kaelo", "Linnea", "Maren", "Nerys", "Orla", "Pellan", "Quilla", "Runa", "Sorrel", "Tavi",
    "Ulani", "Vesna", "Wren", "Ximo", "Yarrow",
)  # fmt: skip

FAMILY_NAMES = (
    "Ashenbrook", "Birkwell", "Cloudsley", "Dewhollow", "Emberlane", "Fennacre", "Glimmerdale", "Hartmoss",
    "Ivorsea", "Junipermead", "Kestrelmoor", "Larkspire", "Mossgate", "Nightharbour", "Oakenfirth",
    "Pebbleford", "Quillmarsh", "Rainhollow", "Silverthwaite", "Thistlecombe",
)  # fmt: skip

STREETS = ("Harbour Lane", "Mill Row", "Linden Walk", "Station Yard", "Orchard Close", "Lantern Street")

PLACES = (
    Place("Norrhaven", "10", "DE"),
    Place("Altensee", "20", "DE"),
    Place("Valmoiry", "30", "FR"),
    Place("Portclair", "40", "FR"),
    Place("Sandrecht", "50", "NL"),
    Place("Monteluna", "60", "IT"),
    Place("Villarejo del Sol", "70", "ES"),
    Place("Qinghewan", "80", "CN"),
)

CARRIERS = ("Swiftpost", "Parcelbird", "Northline")

SERIES = (
    Bilingual("Alderfen", "奥德芬"),
    Bilingual("Brackmoor", "布拉克"),
    Bilingual("Calderholt", "卡尔德"),
    Bilingual("Dunvarr", "敦瓦尔"),
    Bilingual("Esterlin", "埃斯特"),
)

_WATERPROOF = Bilingual("waterproof", "防水")
_LIGHT = Bilingual("lightweight", "轻量")
_WARM = Bilingual("insulated", "保暖")
_BREATHABLE = Bilingual("breathable", "透气")
_RECYCLED = Bilingual("recycled", "环保再生")
_FOLDING = Bilingual("folding", "折叠")
_STEEL = Bilingual("steel", "不锈钢")
_TITANIUM = Bilingual("titanium", "钛合金")
_FAMILY = Bilingual("family", "家庭")
_SOLAR = Bilingual("solar", "太阳能")

CLOTHING = (_WATERPROOF, _LIGHT, _WARM, _BREATHABLE, _RECYCLED)
GEAR = (_LIGHT, _STEEL, _TITANIUM, _FOLDING, _FAMILY)

CATEGORIES = (
    Category("jackets", "JKT", Bilingual("jacket", "夹克"), CLOTHING, 6900),
    Category("trousers", "TRS", Bilingual("hiking trousers", "徒步裤"), CLOTHING, 4900),
    Category("shoes", "SHO", Bilingual("hiking shoes", "徒步鞋"), CLOTHING, 7900),
    Category("gloves", "GLV", Bilingual("gloves", "手套"), CLOTHING, 1900),
    Category("hats", "HAT", Bilingual("hat", "帽子"), CLOTHING, 1500),
    Category(
        "backpacks",
        "BPK",
        Bilingual("backpack", "背包"),
        (_WATERPROOF, _LIGHT, _RECYCLED, _FOLDING, _FAMILY),
        5900,
    ),
    Category(
        "tents", "TNT", Bilingual("tent", "帐篷"), (_WATERPROOF, _LIGHT, _WARM, _RECYCLED, _FAMILY), 14900
    ),
    Category(
        "sleeping-bags",
        "SLB",
        Bilingual("sleeping bag", "睡袋"),
        (_WATERPROOF, _LIGHT, _WARM, _RECYCLED, _FAMILY),
        8900,
    ),
    Category("cookware", "CKW", Bilingual("cooking pot", "炊具锅"), GEAR, 2900),
    Category(
        "bottles", "BTL", Bilingual("bottle", "水壶"), (_LIGHT, _STEEL, _TITANIUM, _WARM, _RECYCLED), 1900
    ),
    Category(
        "lamps", "LMP", Bilingual("lamp", "营灯"), (_WATERPROOF, _LIGHT, _FOLDING, _FAMILY, _SOLAR), 2400
    ),
    Category("tools", "MTL", Bilingual("multi-tool", "多功能刀"), GEAR, 3400),
)
