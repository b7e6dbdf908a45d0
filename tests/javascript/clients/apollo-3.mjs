// Apollo Client 3: queries over HTTP, subscriptions over graphql-transport-ws.
import { ApolloClient, HttpLink, InMemoryCache, gql, split } from "apollo-client-3/core/index.js";
import { GraphQLWsLink } from "apollo-client-3/link/subscriptions/index.js";
import { getMainDefinition } from "apollo-client-3/utilities/index.js";
import { apollo } from "../apollo.mjs";
import { url } from "../drive.mjs";
import { socket } from "../socket.mjs";

const link = split(
  ({ query }) => getMainDefinition(query).operation === "subscription",
  new GraphQLWsLink(socket),
  new HttpLink({ uri: url }),
);

apollo(new ApolloClient({ link, cache: new InMemoryCache() }), gql, () => socket.dispose());
