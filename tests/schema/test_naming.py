from tycostream.model import Relation
from tycostream.schema.naming import Names


def test_relations_that_come_to_the_same_name_are_told_apart_by_numbers() -> None:
    names = Names()
    given = [names.source(Relation(name)) for name in ("trades", "~", ":", "a b", "a-b", "~")]
    assert given == ["trades", "unnamed", "unnamed_2", "a_b", "a_b_2", "unnamed_3"]


def test_a_relation_of_another_schema_does_not_take_a_name_that_is_taken() -> None:
    names = Names()
    assert names.source(Relation("desk_trades")) == "desk_trades"
    assert names.source(Relation("trades", "desk")) == "desk_trades_2"
