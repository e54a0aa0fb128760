"""`smile-async services` against the sandbox."""

from cli_support import Run


async def test_services(run: Run) -> None:
    """A person reads what each kind of id needs, by country; a machine gets every entry and the banks."""
    everywhere, nigeria, machine = await run("services"), await run("services", "ng"), await run("services", "--json")
    assert (everywhere.code, nigeria.code, machine.code) == (0, 0, 0)
    assert "GHA" not in nigeria.out
    assert {"GH", "KE", "NG"} <= {line.split()[0] for line in everywhere.out.splitlines() if line.strip()}
    assert {line.split()[0] for line in nigeria.out.splitlines()[3:] if line[:4].strip()} == {"NG"}
    account = next(line for line in nigeria.out.splitlines() if "BANK_ACCOUNT" in line)
    assert "bank_code" in account
    assert "user_id" not in nigeria.out
    found = machine.document
    bvn = {"product": "enhanced_kyc", "country": "NG", "id_type": "BVN"}
    assert any(bvn.items() <= kind.items() for kind in found["id_types"])
    assert {"name", "code"} == found["banks"][0].keys()


async def test_services_of_no_country(run: Run) -> None:
    """A country without services is said to have none, with an exit code that no script takes for done."""
    person, machine = await run("services", "XX"), await run("services", "XX", "--json")
    assert (person.code, machine.code) == (3, 3)
    assert "nothing is listed for XX" in person.err
    assert person.out == ""
    assert machine.document["id_types"] == []
