"""How this machine is reached and reaches others: addresses to listen on, proxies, whom TLS trusts."""
