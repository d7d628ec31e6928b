// A client by Java's own TLS: java TLSClient.java PORT CA. It prints a line for each connection.
//
// Each version and cipher suite has two handshakes, the second resumed in TLS 1.3, with two pipelined requests each. A
// ticket of TLS 1.2 has no lifetime in Go, so Java does not keep it. It sends no server name that has no dot. In TLS 1.3 a
// client with a low limit of bytes per key changes keys in the middle, and asks for other ones. The last requests are
// those of java.net.http.

import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class TLSClient {
    static final String BODY = "<body rid='%d' sid='s' xmlns='http://jabber.org/protocol/httpbind'/>";

    public static void main(String[] args) throws Exception {
        Security.setProperty("jdk.tls.keyLimits",
                "AES/GCM/NoPadding KeyUpdate 2^13, ChaCha20-Poly1305 KeyUpdate 2^13");
        int port = Integer.parseInt(args[0]);
        String[][] all = {
            {"TLSv1.3", "TLS_AES_128_GCM_SHA256"},
            {"TLSv1.3", "TLS_AES_256_GCM_SHA384"},
            {"TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"},
            {"TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
            {"TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
            {"TLSv1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
        };
        for (String[] one : all) {
            SSLContext context = contextOf(args[1]);
            long created = 0;
            for (int i = 0; i < 2; i++) {
                try (SSLSocket s = dial(context, port, one[0], one[1])) {
                    long at = s.getSession().getCreationTime();
                    send(s, 1, 0, false);
                    send(s, 2, 0, true);
                    System.out.println(one[0] + " " + s.getSession().getCipherSuite() + " " + answers(s) + " answers"
                            + (i > 0 && at == created ? " resumed" : ""));
                    created = at;
                }
                Thread.sleep(2); // so that another session would have another time
            }
        }
        try (SSLSocket s = dial(contextOf(args[1]), port, all[0][0], all[0][1])) {
            for (int rid = 1; rid <= 20; rid++) {
                send(s, rid, 5000, rid == 20);
            }
            System.out.println("KeyUpdate " + answers(s) + " answers");
        }
        HttpClient client = HttpClient.newBuilder().sslContext(contextOf(args[1])).build();
        for (int rid = 1; rid <= 3; rid++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create("https://localhost:" + port + "/http-bind"))
                    .POST(HttpRequest.BodyPublishers.ofString(String.format(BODY, rid))).build();
            HttpResponse<String> r = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println("HttpClient " + r.version() + " " + r.statusCode() + " " + r.body());
        }
    }

    static SSLContext contextOf(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = Files.newInputStream(Path.of(file))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    static SSLSocket dial(SSLContext context, int port, String version, String suite) throws Exception {
        Socket below = new Socket(InetAddress.getByName("127.0.0.1"), port);
        SSLSocket s = (SSLSocket) context.getSocketFactory().createSocket(below, "localhost", port, true);
        s.setSoTimeout(30_000);
        s.setEnabledProtocols(new String[] {version});
        s.setEnabledCipherSuites(new String[] {suite});
        var parameters = s.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        parameters.setApplicationProtocols(new String[] {"h2", "http/1.1"});
        s.setSSLParameters(parameters);
        s.startHandshake();
        if (!s.getApplicationProtocol().equals("http/1.1")) {
            throw new Exception("ALPN selected " + s.getApplicationProtocol());
        }
        return s;
    }

    static void send(SSLSocket s, int rid, int padding, boolean last) throws Exception {
        String body = String.format(BODY, rid).replace("/>", ">" + " ".repeat(padding) + "</body>");
        OutputStream out = s.getOutputStream();
        out.write(("POST /http-bind HTTP/1.1\r\nHost: localhost\r\n" + (last ? "Connection: close\r\n" : "")
                + "Content-Length: " + body.length() + "\r\n\r\n" + body).getBytes(StandardCharsets.US_ASCII));
        out.flush();
    }

    static int answers(SSLSocket s) throws Exception {
        String text = new String(s.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
        return text.split("<body told='127.0.0.1'/>", -1).length - 1;
    }
}
