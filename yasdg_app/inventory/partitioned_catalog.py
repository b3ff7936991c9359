"""The shop's products by partition: each has a partition and an index among its products.

There is a single dictionary of all ids. All other data of a product is in lists at its index: with a million products
every further dictionary takes 100 MB.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence

from yasdg_app.config.catalog import Product
from yasdg_app.messages.ids import default_partition


class PartitionedCatalog(Mapping[str, Product]):
    """The products of a shop by id, in catalog order.

    Parameters
    ----------
    products
        The catalog.
    partitions
        Partition of each product's messages, in catalog order.

    Attributes
    ----------
    indexes
        Index of each product in the catalog, by id.
    partitions
        Partition of each product, by that index.
    local_indexes
        Index of each product among the products of its partition, by its index in the catalog.
    """

    def __init__(self, products: Sequence[Product], partitions: Sequence[int]) -> None:
        self.indexes = {product.product_id: index for index, product in enumerate(products)}
        self.partitions = partitions
        self.local_indexes = array("i")
        self._products = products
        self._by_partition: dict[int, list[Product]] = {}
        for product, partition in zip(products, partitions, strict=True):
            local_products = self._by_partition.setdefault(partition, [])
            self.local_indexes.append(len(local_products))
            local_products.append(product)

    @classmethod
    def of(cls, products: Sequence[Product], partition_count: int) -> "PartitionedCatalog":
        """Return the catalog of a shop whose messages are partitioned by Kafka's default partitioner."""
        return cls(products, [default_partition(product.product_id, partition_count) for product in products])

    def __getitem__(self, product_id: str) -> Product:
        return self._products[self.indexes[product_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.indexes)

    def __len__(self) -> int:
        return len(self.indexes)

    def product_at(self, index: int) -> Product:
        """Return the product at an index in the catalog."""
        return self._products[index]

    def products_in(self, partition: int) -> Sequence[Product]:
        """Return the products of a partition, in catalog order."""
        return self._by_partition.get(partition, ())

    def partition_of(self, product_id: str) -> int | None:
        """Return the partition of a product; None if the shop has no such product."""
        index = self.indexes.get(product_id)
        return None if index is None else self.partitions[index]

    def local_index_of(self, product_id: str) -> int:
        """Return the index of a product among those of its partition. Raises KeyError if there is no such product."""
        return self.local_indexes[self.indexes[product_id]]
