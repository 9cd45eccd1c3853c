"""The one walk over a graph: values in execution order, forgotten when nobody reads them any more."""

import pytest
import torch
from helpers import Residual, randomise
from torch import nn

from biasprop import SourceError
from biasprop.graph import Node, abbreviate, capture, evaluated, run, started, walk


@pytest.fixture(scope="module")
def network():
    """A small network, an input, and its graph."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        model, x = randomise(nn.Sequential(Residual(body), nn.Linear(4, 2))), torch.randn(3, 4)
    return model, x, capture(model, (x,))


def test_running_a_graph_is_running_the_model(network):
    model, x, graph = network
    torch.testing.assert_close(run(graph, graph.read_parameters(model), (x,)), model(x).detach())


def test_a_walk_visits_each_node_once_in_order_and_keeps_only_what_is_still_read(network):
    model, x, graph = network
    visited = []

    def visit(node, values):
        assert all(operand in values for operand in node.operands)
        later = {operand for n in graph.nodes[len(visited) :] for operand in n.operands}
        assert {n for n in visited if n in values} <= later
        visited.append(node)
        return evaluated(node, values)

    outputs = walk(graph, started(graph, graph.read_parameters(model), (x,), ()), visit)
    assert visited == graph.nodes
    assert [n.operation for n in visited] == ["linear", "relu", "linear", "add", "linear"]
    torch.testing.assert_close(outputs[0], model(x).detach())


def test_values_may_be_anything(network):
    """Here how many operations lie between the input and a node."""
    _, _, graph = network
    start = dict.fromkeys(graph.parameters, 0) | {graph.inputs[0]: 0}
    assert walk(graph, start, lambda node, values: 1 + max(values[o] for o in node.operands)) == [5]


def test_what_has_a_name_is_found(network):
    _, _, graph = network
    assert graph.find("0.body.0").operation == "linear"
    assert graph.find("0.body").name == "0.body.2"
    assert graph.find("0").operation == "add"
    assert graph.find(graph.inputs[0].name) is graph.inputs[0]
    with pytest.raises(SourceError, match=r"No tensor of the network is called '0\.bod'. There are: .*0\.body\.0, "):
        graph.find("0.bod")


def test_who_reads_whom(network):
    _, _, graph = network
    readers = graph.consumers
    first, last = graph.nodes[0], graph.nodes[-1]
    assert set(readers[graph.inputs[0]]) == {first, graph.find("0")}
    assert readers[first] == [graph.nodes[1]]
    assert readers[last] == [None]


def test_many_names_are_abbreviated():
    assert abbreviate(["b", "a", "b"]) == "b, a"
    assert abbreviate((str(i) for i in range(100)), most=4) == "0, 1, ..., 98, 99"


def test_operands_are_found_inside_lists_with_repetitions():
    one, two = Node("one", "", torch.relu), Node("two", "", torch.relu)
    node = Node("joined", "", torch.ops.aten.cat.default, ([one, two, one],), {"dim": 1})
    assert node.operands == [one, two, one]
    assert repr(node) == "joined (cat)"
