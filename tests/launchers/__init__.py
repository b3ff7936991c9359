"""Programs that tests start as processes in place of `yasdg worker`; see `support.shop.Shop.worker`."""
