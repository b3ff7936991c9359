"""The forecast as data for JSON."""

from datetime import datetime, timedelta
from typing import Any

from yasdg_app.config.rules import WEEKDAYS
from yasdg_app.forecast.model import Forecast
from yasdg_app.forecast.supply import mean_lead_time
from yasdg_app.forecast.warnings import BAD_LOSS_SHARE


def as_data(forecast: Forecast) -> dict[str, Any]:
    """Return the whole forecast for JSON; times are the shop's, with their offset from UTC."""
    settings, plan = forecast.settings, forecast.plan
    catch_up = forecast.catch_up
    return {
        "configuration": str(settings.source) if settings.source else None,
        "products": len(plan.products),
        "customers_per_second_while_open": 1 / settings.sales.mean_seconds_between_sales,
        "clock": {
            "time_zone": settings.clock.time_zone,
            "start": _time(forecast, plan.opened_at),
            "end": None if forecast.closes_at is None else _time(forecast, forecast.closes_at),
            "speed": "max" if settings.clock.speed is None else settings.clock.speed,
            "on_restart": settings.clock.on_restart,
        },
        "catch_up": catch_up and {
            "behind_seconds": catch_up.behind.total_seconds(),
            "customers": catch_up.customers,
            "restocks": catch_up.restocks,
            "seconds": catch_up.seconds,
            "closes": catch_up.closes,
        },
        "number_of_sales": settings.sales.number_of_sales,
        "last_sale": None if forecast.last_sale is None else _time(forecast, forecast.last_sale),
        "customers": forecast.customers,
        "lost": forecast.lost,
        "days": [
            {
                "date": str(day.date),
                "weekday": WEEKDAYS[day.date.weekday()],
                "hours": day.hours,
                "why": day.why or None,
                "open": day.open,
                "customers": day.customers.tolist(),
                "lost": day.lost.tolist(),
                "incidents": [each.name for each in day.incidents],
            }
            for day in forecast.days
        ],
        "customers_by_category": {name: float(values.sum()) for name, values in forecast.by_category.items()},
        "incidents": [
            {
                "name": each.name,
                "kind": each.kind,
                "start": _time(forecast, each.start),
                "end": _time(forecast, each.end),
                "factor": each.factor,
                "discount": each.discount / 10_000,
                "categories": sorted(each.categories),
                "products": sorted(each.products),
            }
            for each in forecast.incidents
        ],
        "supply": {
            "min_inventory": plan.supply.min_inventory,
            "restock_amount": plan.supply.restock_amount,
            "suppliers": [
                {
                    "name": each.name or None,
                    "categories": each.categories,
                    "lead_time_seconds": [time.total_seconds() for time in each.lead_time],
                    "delivery_days": [WEEKDAYS[day] for day in each.delivery_days],
                    "partial_freq": each.partial_freq,
                    "mean_seconds": mean_lead_time(each).total_seconds(),
                }
                for each in (*settings.suppliers, settings.supply)
            ],
            "products_looked_at": forecast.simulated_products,
            "short": [
                {"product_id": each.product.product_id, "lost_share": each.share, "badly": each.share >= BAD_LOSS_SHARE}
                for each in forecast.short
            ],
        },
        "warnings": forecast.warnings,
    }  # fmt: skip


def _time(forecast: Forecast, at: int) -> str:
    shows = forecast.plan.calendar.local(at)
    ahead = shows - (datetime(1970, 1, 1) + timedelta(microseconds=at))
    minutes = round(ahead / timedelta(minutes=1))
    return f"{shows.isoformat()}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
