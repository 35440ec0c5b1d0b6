class Mcast < Formula
  desc "Show, send, receive, measure and diagnose IP multicast"
  homepage "https://github.com/mcast-rs/mcast"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    url "https://github.com/mcast-rs/mcast/archive/refs/tags/v@VERSION@.tar.gz"
    sha256 "@SHA256:source@"
    depends_on "rust" => :build
  end

  on_linux do
    on_intel do
      url "https://github.com/mcast-rs/mcast/releases/download/v@VERSION@/mcast-@VERSION@-x86_64-linux.tar.gz"
      sha256 "@SHA256:mcast-@VERSION@-x86_64-linux.tar.gz@"
    end
    on_arm do
      url "https://github.com/mcast-rs/mcast/releases/download/v@VERSION@/mcast-@VERSION@-aarch64-linux.tar.gz"
      sha256 "@SHA256:mcast-@VERSION@-aarch64-linux.tar.gz@"
    end
  end

  def install
    if OS.mac?
      system "cargo", "install", *std_cargo_args(path: "crates/front/mcast-cli")
      docs = buildpath/"target/generated-docs"
      system "cargo", "run", "--release", "--locked", "--package", "mcast-cli", "--features", "schema",
             "--example", "generate-docs", "--", docs, docs/"schemas"
    else
      bin.install "mcast"
      docs = buildpath
    end
    man1.install Dir[docs/"man/*.1"]
    bash_completion.install docs/"completions/mcast.bash" => "mcast"
    zsh_completion.install docs/"completions/_mcast"
    fish_completion.install docs/"completions/mcast.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/mcast --version")
    assert_match "administratively", shell_output("#{bin}/mcast explain 239.255.1.3")
  end
end
