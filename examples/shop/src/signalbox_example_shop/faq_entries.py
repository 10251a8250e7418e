"""The shop's frequently asked questions, in English and Chinese."""

from typing import NamedTuple


class FaqEntry(NamedTuple):
    """One question and its answer in one language; entries with the same `faq_id` say the same thing."""

    faq_id: str
    language: str
    question: str
    answer: str


FAQ = (
    FaqEntry(
        "shipping-time",
        "en",
        "How long does shipping and delivery take?",
        "Within the European Union standard delivery takes 3 to 5 working days, express 1 to 2. "
        "Other countries take 7 to 12 working days.",
    ),
    FaqEntry(
        "shipping-time",
        "zh",
        "配送需要多长时间？多久能送到？",
        "欧盟境内标准配送需要3至5个工作日，加急需要1至2个工作日；其他国家和地区需要7至12个工作日。",
    ),
    FaqEntry(
        "shipping-cost",
        "en",
        "What does shipping cost? Is delivery free?",
        "Standard delivery costs 4.90 EUR and is free for orders from 75 EUR. Express costs 9.90 EUR.",
    ),
    FaqEntry(
        "shipping-cost",
        "zh",
        "运费是多少？可以包邮免运费吗？",
        "标准配送运费4.90欧元，订单满75欧元免运费；加急配送9.90欧元。",
    ),
    FaqEntry(
        "returns",
        "en",
        "What is your return policy? How many days do I have to return something?",
        "You can send back unused items within 30 days of delivery. The return label is free; "
        "the refund is paid within 5 working days after the parcel reaches us.",
    ),
    FaqEntry(
        "returns",
        "zh",
        "退货政策是什么？多少天内可以退货？",
        "未使用的商品可在签收后30天内退货，退货运单免费；我们收到包裹后5个工作日内退款。",
    ),
    FaqEntry(
        "payment",
        "en",
        "Which payment methods do you accept? Can I pay by card?",
        "We accept bank cards, bank transfer and invoices. Prices are in euros and include VAT.",
    ),
    FaqEntry(
        "payment",
        "zh",
        "支持哪些付款方式？可以刷卡支付吗？",
        "我们支持银行卡、银行转账和账单付款。价格以欧元计，含增值税。",
    ),
    FaqEntry(
        "warranty",
        "en",
        "Is there a warranty or guarantee on products?",
        "Every product has a two-year warranty against faults of material and making.",
    ),
    FaqEntry("warranty", "zh", "商品有保修吗？质保多久？", "所有商品享有两年质保，涵盖材料和工艺缺陷。"),
    FaqEntry(
        "exchange",
        "en",
        "Can I exchange an item for another size or colour?",
        "We do not swap items. Return the one that does not fit and order the other; the return is free.",
    ),
    FaqEntry(
        "exchange",
        "zh",
        "可以换货、换尺码或换颜色吗？",
        "我们不直接换货。请退回不合适的商品，再重新下单；退货免费。",
    ),
    FaqEntry(
        "gift-wrap",
        "en",
        "Do you offer gift wrapping?",
        "Yes, gift wrapping costs 3.50 EUR per parcel; choose it in the basket.",
    ),
    FaqEntry("gift-wrap", "zh", "提供礼品包装吗？", "提供，每个包裹3.50欧元，请在购物车中选择。"),
    FaqEntry(
        "opening-hours",
        "en",
        "What are your opening hours? When can I reach a person?",
        "Our people answer from Monday to Friday, 9:00 to 18:00 Central European Time.",
    ),
    FaqEntry(
        "opening-hours",
        "zh",
        "人工客服的营业时间是几点？",
        "人工客服时间为周一至周五，中欧时间9:00至18:00。",
    ),
)
