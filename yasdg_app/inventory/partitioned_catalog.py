"""The shop's products by partition: each has a home partition and an index in it.

There is a single dictionary of all ids. All other data of a product is in lists at its index: with a million products
every further dictionary takes 100 MB.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence

from yasdg_app.config.catalog import Product
from yasdg_app.messages.ids import home


class Assortment(Mapping[str, Product]):
    """The products of a shop by id, in catalog order.

    Parameters
    ----------
    products
        The catalog.
    homes
        Partition of each product's messages, in catalog order.

    Attributes
    ----------
    places
        Index of each product in the catalog, by id.
    homes
        Its partition, by that index.
    seats
        Its index among the products of that partition, by the same index.
    """

    def __init__(self, products: Sequence[Product], homes: Sequence[int]) -> None:
        self.places = {product.product_id: place for place, product in enumerate(products)}
        self.homes = homes
        self.seats = array("i")
        self._products = products
        self._here: dict[int, list[Product]] = {}
        for product, partition in zip(products, homes, strict=True):
            here = self._here.setdefault(partition, [])
            self.seats.append(len(here))
            here.append(product)

    @classmethod
    def of(cls, products: Sequence[Product], partitions: int) -> "Assortment":
        """Return the assortment of a shop whose messages are partitioned by Kafka's default partitioner."""
        return cls(products, [home(product.product_id, partitions) for product in products])

    def __getitem__(self, product_id: str) -> Product:
        return self._products[self.places[product_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def at(self, place: int) -> Product:
        """Return the product at an index in the catalog."""
        return self._products[place]

    def here(self, partition: int) -> Sequence[Product]:
        """Return the products of a partition, in catalog order."""
        return self._here.get(partition, ())

    def home(self, product_id: str) -> int | None:
        """Return the partition of a product; None if the shop has no such product."""
        place = self.places.get(product_id)
        return None if place is None else self.homes[place]
