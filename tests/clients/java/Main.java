// Java's HttpClient, over HTTP/2 and HTTP/1.1: a download, an upload, a refusal.

import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.HexFormat;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Main {
    public static void main(String[] arguments) throws Exception {
        var upload = Path.of(arguments[0]);
        var client =
            HttpClient.newBuilder()
                .version(HttpClient.Version.valueOf(arguments[2]))
                .sslContext(trusting(arguments[1]))
                .build();
        var get = HttpRequest.newBuilder(URI.create("https://api.good.test/download"));
        var download = client.send(get.build(), BodyHandlers.ofByteArray());
        var digest = MessageDigest.getInstance("SHA-256").digest(download.body());
        System.out.println(download.statusCode() + " " + HexFormat.of().formatHex(digest));
        var post =
            HttpRequest.newBuilder(URI.create("https://api.good.test/upload"))
                .POST(HttpRequest.BodyPublishers.ofFile(upload))
                .expectContinue(true);
        var uploaded = client.send(post.build(), BodyHandlers.ofString());
        System.out.println(uploaded.statusCode() + " " + uploaded.body());
        var other = HttpRequest.newBuilder(URI.create("https://elsewhere.test/"));
        var refused = client.send(other.build(), BodyHandlers.ofString());
        var kind = refused.headers().firstValue("content-type").orElse("");
        System.out.println(refused.statusCode() + " " + kind);
        System.out.println(download.version());
    }

    static SSLContext trusting(String file) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var pem = new FileInputStream(file)) {
            var certificate = CertificateFactory.getInstance("X.509").generateCertificate(pem);
            store.setCertificateEntry("portreeve", certificate);
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }
}
