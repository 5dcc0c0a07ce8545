"""The same graph of assets that do nothing: what Dagster itself takes for a hundred pairs."""

import dagster as dg


def pair(number: int) -> list[dg.AssetsDefinition]:
    @dg.multi_asset(
        name=f"export{number}",
        specs=[dg.AssetSpec(["exports", f"t{number}"], deps=[["materialize", f"t{number}"]])],
        check_specs=[dg.AssetCheckSpec("counts_reconciled", asset=["exports", f"t{number}"])],
    )
    def export(): ...

    @dg.multi_asset(
        name=f"load{number}",
        specs=[dg.AssetSpec(["snowflake", f"t{number}"], deps=[["exports", f"t{number}"]])],
        check_specs=[dg.AssetCheckSpec("counts_reconciled", asset=["snowflake", f"t{number}"])],
    )
    def load(): ...

    return [export, load]


defs = dg.Definitions(assets=[asset for number in range(100) for asset in pair(number)])
