"""What the shop's endpoints take and return."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, computed_field, model_validator

OrderStatus = Literal["processing", "shipped", "delivered", "cancelled"]
ReturnStatus = Literal["requested", "received", "completed"]
RefundStatus = Literal["pending", "processing", "paid"]
ReturnReason = Literal["ok", "not_delivered", "window_over", "already_returned"]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]


class Money(BaseModel):
    """An amount: integer cents of `currency` (ISO 4217), and the same for people to read."""

    cents: int
    currency: str = "EUR"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """The amount with two decimals and its currency, such as `89.90 EUR`."""
        return f"{self.cents // 100}.{self.cents % 100:02d} {self.currency}"


class Health(BaseModel):
    """That the shop works, and how much it knows."""

    status: Literal["healthy"] = "healthy"
    generated_on: date
    customers: int
    products: int
    orders: int


class Address(BaseModel):
    """Where a parcel goes; `country` is an ISO 3166 alpha-2 code."""

    model_config = ConfigDict(extra="forbid")

    street: Line
    city: Line
    postcode: Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=16)]
    country: Annotated[str, StringConstraints(to_upper=True, pattern=r"^[A-Za-z]{2}$")]


class Customer(BaseModel):
    """A customer; `language` is what they like to be answered in."""

    customer_id: str
    name: str
    email: str
    language: str
    address: Address
    since: date


class OrderItem(BaseModel):
    """One line of an order; `returned` counts the pieces of it that a return exists for."""

    sku: str
    name: str
    name_zh: str
    quantity: int
    returned: int
    unit_price: Money


class Order(BaseModel):
    """An order; times that its status has not reached are null."""

    order_number: int
    customer_id: str
    status: OrderStatus
    placed_at: datetime
    shipped_at: datetime | None
    delivered_at: datetime | None
    cancelled_at: datetime | None
    estimated_delivery_on: date
    carrier: str | None
    tracking_number: str | None
    address: Address
    items: list[OrderItem]
    shipping: Money
    total: Money


class OrderSummary(BaseModel):
    """An order in a list."""

    order_number: int
    status: OrderStatus
    placed_at: datetime
    total: Money


class OrderList(BaseModel):
    """A customer's orders, newest first."""

    customer_id: str
    orders: list[OrderSummary]


class TrackingEvent(BaseModel):
    """One thing that happened to a parcel."""

    at: datetime
    event: Literal["ordered", "handed_over", "in_transit", "delivered", "cancelled"]
    place: str


class Tracking(BaseModel):
    """Where a parcel is; `last_place` is the place of the newest event."""

    order_number: int
    status: OrderStatus
    carrier: str | None
    tracking_number: str | None
    estimated_delivery_on: date
    last_place: str
    events: list[TrackingEvent]


class Product(BaseModel):
    """A product of the catalogue."""

    sku: str
    name: str
    name_zh: str
    category: str
    description: str
    price: Money
    in_stock: bool


class ProductList(BaseModel):
    """Products that fit a search, the best match first."""

    products: list[Product]


class Stock(BaseModel):
    """How many pieces can be sent today, and when more come if there are none."""

    sku: str
    name: str
    quantity: int
    in_stock: bool
    restock_on: date | None


class ReturnableItem(BaseModel):
    """Pieces of an order that can still be sent back."""

    sku: str
    name: str
    quantity: int
    refund: Money


class ReturnEligibility(BaseModel):
    """Whether an order can be returned now; `reason` is `ok` or the first rule against it."""

    order_number: int
    returnable: bool
    reason: ReturnReason
    detail: str
    window_days: int
    days_left: int | None
    items: list[ReturnableItem]
    refund: Money


class ReturnRequestItem(BaseModel):
    """One product to send back; no quantity means all pieces of it, and so does an SKU alone."""

    model_config = ConfigDict(extra="forbid")

    sku: Annotated[str, Field(min_length=1, max_length=20)]
    quantity: Annotated[int, Field(ge=1, le=100)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _sku_alone(cls, given: Any) -> Any:
        return {"sku": given} if isinstance(given, str) else given


class ReturnRequest(BaseModel):
    """A wish to send something back; no items means everything of the order that can be returned."""

    model_config = ConfigDict(extra="forbid")

    order_number: Annotated[int, Field(ge=0, le=999_999_999)]
    items: Annotated[list[ReturnRequestItem], Field(min_length=1, max_length=20)] | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None


class ReturnItem(BaseModel):
    """One product of a return."""

    sku: str
    quantity: int


class Refund(BaseModel):
    """Money on its way back: `pending` until the parcel arrives, then `processing`, then `paid`."""

    refund_id: str
    order_number: int
    return_id: str | None
    status: RefundStatus
    amount: Money
    created_at: datetime
    paid_at: datetime | None


class Return(BaseModel):
    """An accepted return; the parcel is to be sent by `send_back_by` with the label at `label_url`."""

    return_id: str
    order_number: int
    status: ReturnStatus
    reason: str | None
    items: list[ReturnItem]
    created_at: datetime
    send_back_by: date
    label_url: str
    refund: Refund


class RefundList(BaseModel):
    """The refunds of an order, newest first; `status` is that of the newest, `none` without any."""

    order_number: int
    status: RefundStatus | Literal["none"]
    refunds: list[Refund]


class CancelRequest(BaseModel):
    """Why an order is cancelled, if the customer says so."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=500)] | None = None


class Cancellation(BaseModel):
    """A cancelled order and the refund of what was paid."""

    order_number: int
    status: Literal["cancelled"]
    cancelled_at: datetime
    refund: Refund


class FaqPassage(BaseModel):
    """One question of the FAQ with its answer, in one language, and where it stands."""

    faq_id: str
    language: str
    question: str
    answer: str
    url: str


class FaqList(BaseModel):
    """What the FAQ says about a question, the best match first."""

    passages: list[FaqPassage]


class DeliveryRequest(BaseModel):
    """Where something should go: a country by its English or Chinese name or its code."""

    model_config = ConfigDict(extra="forbid")

    country: Annotated[str, Field(min_length=1, max_length=60)]
    express: bool = False


class DeliveryEstimate(BaseModel):
    """When a parcel sent today would arrive and what sending costs; dates are working days."""

    country: str
    country_zh: str
    express: bool
    earliest_on: date
    latest_on: date
    price: Money
    free_from: Money | None
