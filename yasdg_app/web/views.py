"""Table views on Faust's web server: the products, and the inventory as this worker holds it."""

from typing import Any

from yasdg_app import messages
from yasdg_app.application import app
from yasdg_app.streams.inventory import inventory, level_of, products_of


@app.page("/products/")
async def products(web: Any, request: Any) -> Any:
    """List the shop's products."""
    return web.json([messages.product(product).asdict() for product in app.products])


@app.page("/inventory/")
async def levels(web: Any, request: Any) -> Any:
    """List the levels of the products in this worker's partitions."""
    if not app.ownership.settled:
        return web.json({"error": "recovering, ask again in a moment"}, status=503)
    partitions = app.ownership.partitions
    owned = [product.product_id for partition in partitions for product in products_of[partition]]
    return web.json(
        {
            "partitions": partitions,
            "inventory": [found.asdict() for product_id in sorted(owned) if (found := level_of(product_id))],
        }
    )


@app.page("/inventory/{product_id}/")
@app.table_route(table=inventory, match_info="product_id")
async def level(web: Any, request: Any, product_id: str) -> Any:
    """Show the level of one product, asked from the worker that holds it."""
    found = level_of(product_id)
    if found is None:
        return web.json({"error": f"no sale of {product_id} yet, or no such product"}, status=404)
    return web.json(found.asdict())
