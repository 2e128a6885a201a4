import certificates
import fake_service
import grpc
import pytest
from test_both_clients import REQUEST, awaiting, blocking

from hrlrec_tf.errors import ConfigError
from serving.client import RankingClient, RankingError, Retries, TlsCredentials

ONCE = Retries(attempts=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def own(authority):
    """The client's certificate."""
    return authority.issue("client")


@pytest.fixture(scope="module", params=[False, True], ids=["tls", "mutual"])
def served(request, authority):
    pair = authority.issue("localhost")
    credentials = grpc.ssl_server_credentials(
        [(pair.key.read_bytes(), pair.certificate.read_bytes())],
        root_certificates=authority.ca.read_bytes() if request.param else None,
        require_client_auth=request.param,
    )
    with fake_service.Served(fake_service.FakeService(), credentials) as served:
        served.is_mutual = request.param
        yield served


@pytest.mark.parametrize("call", [blocking, awaiting])
def test_a_trusted_client_is_served(call, served, authority, own):
    tls = TlsCredentials(authority.ca, own.certificate, own.key)
    assert call(served.address, "rank", REQUEST, client={"tls": tls}).items


def test_without_a_certificate_only_where_none_is_asked_for(served, authority):
    with RankingClient(served.address, tls=TlsCredentials(authority.ca), retries=ONCE) as client:
        if not served.is_mutual:
            assert client.rank(REQUEST).items
            return
        with pytest.raises(RankingError, match="no server answers .* the certificates") as failed:
            client.rank(REQUEST)
        assert failed.value.status is grpc.StatusCode.UNAVAILABLE


def test_a_stranger_among_servers_is_refused(served, tmp_path):
    tls = TlsCredentials(certificates.Authority(tmp_path, "stranger").ca)
    with RankingClient(served.address, tls=tls, retries=ONCE) as client:
        with pytest.raises(RankingError, match="no server answers"):
            client.rank(REQUEST)


def test_a_server_of_another_name(served, authority, own):
    pair = (own.certificate, own.key)
    address = served.address.replace("localhost", "127.0.0.1")
    for name, is_right in (("localhost", True), ("elsewhere", False)):
        tls = TlsCredentials(authority.ca, *pair, server_name=name)
        with RankingClient(address, tls=tls, retries=ONCE) as client:
            if is_right:
                assert client.rank(REQUEST).items
            else:
                with pytest.raises(RankingError, match="no server answers"):
                    client.rank(REQUEST)


def test_plain_text_is_not_spoken_to_a_tls_port(served):
    with RankingClient(served.address, retries=ONCE) as client, pytest.raises(RankingError, match="UNAVAILABLE"):
        client.rank(REQUEST)


def test_files_that_lack(tmp_path):
    with pytest.raises(ConfigError, match="its key; give both or none"):
        TlsCredentials(certificate="c.pem")
    with pytest.raises(ConfigError, match=r"ca.pem: cannot be read \(No such file or directory\)"):
        RankingClient("localhost:1", tls=TlsCredentials(tmp_path / "ca.pem"))
